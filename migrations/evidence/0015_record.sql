-- How a run went: the curve of its training, and what took how long, with every stop and failure.

CREATE TABLE training_curve (
  run VARCHAR, layer INTEGER, step BIGINT, tokens BIGINT, fvu DOUBLE, l0 DOUBLE, dead DOUBLE,
  loss DOUBLE, learning_rate DOUBLE);
COMMENT ON TABLE training_curve IS 'One row per run, layer and kept step of its training, at most 200 steps: figures of that step''s batch. Steps lie close in the beginning.';
COMMENT ON COLUMN training_curve.run IS 'run.id';
COMMENT ON COLUMN training_curve.layer IS 'Layer of the SAE';
COMMENT ON COLUMN training_curve.step IS 'Step of the optimiser, from 1';
COMMENT ON COLUMN training_curve.tokens IS 'Tokens trained on up to and with this step, repeats counted';
COMMENT ON COLUMN training_curve.fvu IS 'Fraction of variance unexplained of the batch';
COMMENT ON COLUMN training_curve.l0 IS 'Features that fire per token of the batch';
COMMENT ON COLUMN training_curve.dead IS 'Share of features that did not fire within train.dead_tokens before this step';
COMMENT ON COLUMN training_curve.loss IS 'Mean squared error per entry of z as the SAE sees it: centred and scaled to |x|^2 = d_in on average';
COMMENT ON COLUMN training_curve.learning_rate IS 'Learning rate of this step';

CREATE TABLE run_log (
  run VARCHAR, rank INTEGER, stage VARCHAR, began_at TIMESTAMP, seconds DOUBLE, done DOUBLE,
  unit VARCHAR, outcome VARCHAR, message VARCHAR);
COMMENT ON TABLE run_log IS 'One row per stage of every try of a run, in the order of time.';
COMMENT ON COLUMN run_log.run IS 'run.id';
COMMENT ON COLUMN run_log.rank IS 'From 0, in the order of time';
COMMENT ON COLUMN run_log.stage IS 'What was done, such as train or evaluate';
COMMENT ON COLUMN run_log.began_at IS 'UTC';
COMMENT ON COLUMN run_log.seconds IS 'How long it took; NULL where the process was killed meanwhile';
COMMENT ON COLUMN run_log.done IS 'Units done at its end, those of earlier tries included';
COMMENT ON COLUMN run_log.unit IS 'What is counted, such as tokens';
COMMENT ON COLUMN run_log.outcome IS 'done, stopped by hand, failed, or unfinished where the process was killed';
COMMENT ON COLUMN run_log.message IS 'Why it stopped or failed; else empty';
