"""What both ends agree on: signature, event, catalogue, times. Pure: bytes and values in, values out."""
