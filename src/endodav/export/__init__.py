"""A model as a folder for other runtimes: graphs, what they are, how exact they are, a runner."""
