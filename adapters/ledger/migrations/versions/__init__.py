"""One module per revision of the schema. They are history: only comments may change."""
