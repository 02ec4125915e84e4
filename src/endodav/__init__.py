"""EndoDAV: depth for any endoscopic video."""
