"""How the product is started."""
