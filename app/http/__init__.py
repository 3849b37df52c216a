"""The query API: the atlas over HTTP, with its OpenAPI document."""
