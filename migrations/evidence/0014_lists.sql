-- Lists of features are read from files beside the database; labellers are compared once, at publish.

DROP TABLE listed;

CREATE TABLE label_method (
  method VARCHAR, model VARCHAR, prompt VARCHAR, scorer VARCHAR, features BIGINT, mean DOUBLE,
  spread DOUBLE, common BIGINT, common_mean DOUBLE, labelled BIGINT, failures BIGINT);
COMMENT ON TABLE label_method IS 'Every way of labelling with every scorer, over all features that have such a score.';
COMMENT ON COLUMN label_method.method IS 'label_score.method';
COMMENT ON COLUMN label_method.model IS 'label_score.model';
COMMENT ON COLUMN label_method.prompt IS 'label_score.prompt';
COMMENT ON COLUMN label_method.scorer IS 'label_score.scorer';
COMMENT ON COLUMN label_method.features IS 'Features whose label by this method has this score';
COMMENT ON COLUMN label_method.mean IS 'Mean of the score over them, 0 to 1';
COMMENT ON COLUMN label_method.spread IS 'Standard deviation of the score over them';
COMMENT ON COLUMN label_method.common IS 'Features of which every method has this score';
COMMENT ON COLUMN label_method.common_mean IS 'Mean of the score over those features';
COMMENT ON COLUMN label_method.labelled IS 'Features with a title by this method';
COMMENT ON COLUMN label_method.failures IS 'Features on which this method or this scorer gave up';
