"""Stand-ins for services of Azure, held to what Microsoft publishes about them. Nothing of the product imports them."""
