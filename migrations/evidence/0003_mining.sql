-- Features that fire together stand beside those that write alike; more kinds of examples.

ALTER TABLE neighbour ADD COLUMN fire_rank SMALLINT;
COMMENT ON TABLE neighbour IS 'For each feature those that write most nearly in its direction, and those that fire most often where it does, in every SAE of its run.';
COMMENT ON COLUMN neighbour.rank IS 'Order by cosine within the other SAE, from 0; NULL where it is here for firing together';
COMMENT ON COLUMN neighbour.fire_rank IS 'Order by jaccard within the other SAE, from 0; NULL where it is here for its direction';

ALTER TABLE sae ADD COLUMN sink_norm DOUBLE;
COMMENT ON COLUMN sae.sink_norm IS 'Length of z beyond which a position was left out of training, counting and evaluation; NULL where none was';

COMMENT ON TABLE example IS 'Kept firings and near misses: one token in its context, with what brought the feature there.';
COMMENT ON COLUMN example.kind IS 'top (strongest, one per context), interval (drawn from an activation interval), random (drawn from all firings), decile (drawn from a tenth of the firings by activation) or near_miss (no firing, one per context, with the highest pre-activation of at most 15/16 of what firing took)';
COMMENT ON COLUMN example.band IS 'For interval the number of the equal-width interval between 0 and the maximum, for decile that of the tenth, from 0; else NULL';
