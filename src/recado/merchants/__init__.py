"""Merchants, their channel accounts and staff, and `apply` of YAML."""
