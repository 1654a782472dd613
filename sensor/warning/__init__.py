"""Early warning: levels of conversations, assets and the site, and who has fallen silent."""
