"""How fast the preview is, beside the least that Pulumi's SDK allows."""
