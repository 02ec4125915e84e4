"""Depth networks outside PyTorch: OpenVINO, ONNX Runtime, TensorRT; same depth, other arithmetic.

A network is cut into parts (`graphs`), each part is traced once and written in a format, and a
runtime opens it again as something that encodes, decodes and steps as the network did (`network`).
"""
