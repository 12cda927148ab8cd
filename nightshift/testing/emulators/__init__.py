"""Servers that stand in for Azure on this machine: Cosmos DB, Storage, and who the app is to them."""
