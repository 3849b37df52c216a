-- The files beside the database have a new layout (histograms, four best examples of a feature, scores
-- of common words):
-- publishing writes them anew, so an older snapshot only needs `atlas publish`.

COMMENT ON TABLE snapshot IS 'One row: which snapshot this is. The files beside the database belong to this schema version too.';
