"""Golden conversations on the wire, and what plays them."""
