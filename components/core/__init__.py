"""Pure helpers: names, addresses, policy documents. Import no Pulumi and know no component."""
