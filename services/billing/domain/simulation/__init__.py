"""What plans would come to: the same rating as that of invoices, over periods and usage that are only supposed."""
