-- What replacing z of all of a run's layers at once costs: SAEs that are each good may not be together.

CREATE TABLE joint_evaluation (
  run VARCHAR, layers INTEGER[], ce_clean DOUBLE, ce_sae DOUBLE, ce_zero DOUBLE, ce_mean DOUBLE,
  ce_sae_low DOUBLE, ce_sae_high DOUBLE, ce_zero_low DOUBLE, ce_zero_high DOUBLE,
  ce_mean_low DOUBLE, ce_mean_high DOUBLE, recovered_zero DOUBLE, recovered_mean DOUBLE,
  eval_tokens BIGINT);
COMMENT ON TABLE joint_evaluation IS 'One row per run with several SAEs: the loss with z of all their layers replaced at once, on held-out text.';
COMMENT ON COLUMN joint_evaluation.run IS 'run.id';
COMMENT ON COLUMN joint_evaluation.layers IS 'Layers whose z is replaced';
COMMENT ON COLUMN joint_evaluation.ce_clean IS 'Loss per token of the untouched model, nats';
COMMENT ON COLUMN joint_evaluation.ce_sae IS 'Loss with z of every layer replaced by its reconstruction, nats';
COMMENT ON COLUMN joint_evaluation.ce_zero IS 'Loss with z of every layer set to zero, nats';
COMMENT ON COLUMN joint_evaluation.ce_mean IS 'Loss with z of every layer set to its mean, nats';
COMMENT ON COLUMN joint_evaluation.ce_sae_low IS 'Lower end of the 95 % interval of ce_sae - ce_clean over contexts';
COMMENT ON COLUMN joint_evaluation.ce_sae_high IS 'Upper end of the same interval';
COMMENT ON COLUMN joint_evaluation.ce_zero_low IS 'Lower end of the 95 % interval of ce_zero - ce_clean over contexts';
COMMENT ON COLUMN joint_evaluation.ce_zero_high IS 'Upper end of the same interval';
COMMENT ON COLUMN joint_evaluation.ce_mean_low IS 'Lower end of the 95 % interval of ce_mean - ce_clean over contexts';
COMMENT ON COLUMN joint_evaluation.ce_mean_high IS 'Upper end of the same interval';
COMMENT ON COLUMN joint_evaluation.recovered_zero IS 'CE loss recovered against zero ablation; NULL where zeroing costs no more than its own noise';
COMMENT ON COLUMN joint_evaluation.recovered_mean IS 'CE loss recovered against mean ablation; NULL where that costs no more than its own noise';
COMMENT ON COLUMN joint_evaluation.eval_tokens IS 'Held-out tokens of the evaluation';
