"""Organizations (the tenants of the ERP) and who belongs to them in which role."""
