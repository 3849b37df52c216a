"""Files of other projects: written from an atlas, and read into bundles."""
