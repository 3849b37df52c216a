-- Indirect-object identification: what the model does, and what carries it, PAPER.md section 9.

CREATE TABLE ioi_family (
  model VARCHAR, names VARCHAR, conjunction VARCHAR, bos BOOLEAN, does BOOLEAN, accuracy DOUBLE,
  accuracy_low DOUBLE, accuracy_high DOUBLE, top DOUBLE, top_low DOUBLE, top_high DOUBLE,
  difference DOUBLE, difference_low DOUBLE, difference_high DOUBLE, n BIGINT, run VARCHAR);
COMMENT ON TABLE ioi_family IS 'Whether the untouched model does indirect-object identification, by order of names and conjunction.';
COMMENT ON COLUMN ioi_family.model IS 'model.id';
COMMENT ON COLUMN ioi_family.names IS 'ABBA (the answer stands first) or BABA (second)';
COMMENT ON COLUMN ioi_family.conjunction IS 'The word between the two names';
COMMENT ON COLUMN ioi_family.bos IS 'Whether a start token stands before the prompt';
COMMENT ON COLUMN ioi_family.does IS 'Whether accuracy_low is above one half';
COMMENT ON COLUMN ioi_family.accuracy IS 'Share of prompts in which the answer has a larger logit than the other name';
COMMENT ON COLUMN ioi_family.accuracy_low IS 'Lower end of its 95 % Wilson interval';
COMMENT ON COLUMN ioi_family.accuracy_high IS 'Upper end of the same interval';
COMMENT ON COLUMN ioi_family.top IS 'Share of prompts in which the answer is the likeliest of all tokens';
COMMENT ON COLUMN ioi_family.top_low IS 'Lower end of its 95 % Wilson interval';
COMMENT ON COLUMN ioi_family.top_high IS 'Upper end of the same interval';
COMMENT ON COLUMN ioi_family.difference IS 'Mean logit of the answer minus that of the other name, at the end';
COMMENT ON COLUMN ioi_family.difference_low IS 'Lower end of its 95 % bootstrap interval over prompts';
COMMENT ON COLUMN ioi_family.difference_high IS 'Upper end of the same interval';
COMMENT ON COLUMN ioi_family.n IS 'Prompts';
COMMENT ON COLUMN ioi_family.run IS 'run.id of the study';

CREATE TABLE ioi_head (
  model VARCHAR, layer INTEGER, head INTEGER, how VARCHAR, place VARCHAR, names VARCHAR,
  value DOUBLE, low DOUBLE, high DOUBLE, n BIGINT, run VARCHAR);
COMMENT ON TABLE ioi_head IS 'What ablating one head does to the difference of logits.';
COMMENT ON COLUMN ioi_head.model IS 'model.id';
COMMENT ON COLUMN ioi_head.layer IS 'Layer of the head';
COMMENT ON COLUMN ioi_head.head IS 'Head index in the layer';
COMMENT ON COLUMN ioi_head.how IS 'zero; mean (over prompts and positions); resample (from the same prompt with a third name at S2); or estimate, of resampling to first order, for every head';
COMMENT ON COLUMN ioi_head.place IS 'all positions, S2 or end';
COMMENT ON COLUMN ioi_head.names IS 'both, or the order ABBA or BABA';
COMMENT ON COLUMN ioi_head.value IS 'Mean change: negative where the head helps';
COMMENT ON COLUMN ioi_head.low IS 'Lower end of the 95 % bootstrap interval over prompts';
COMMENT ON COLUMN ioi_head.high IS 'Upper end of the same interval';
COMMENT ON COLUMN ioi_head.n IS 'Prompts';
COMMENT ON COLUMN ioi_head.run IS 'run.id of the study';

CREATE TABLE ioi_part (
  model VARCHAR, layer INTEGER, sae_id VARCHAR, part VARCHAR, place VARCHAR, how VARCHAR,
  names VARCHAR, value DOUBLE, low DOUBLE, high DOUBLE, n BIGINT, run VARCHAR);
COMMENT ON TABLE ioi_part IS 'What ablating a whole layer''s attention at one place, or the error of its SAE there, does to the difference of logits.';
COMMENT ON COLUMN ioi_part.model IS 'model.id';
COMMENT ON COLUMN ioi_part.layer IS 'Layer whose z is edited';
COMMENT ON COLUMN ioi_part.sae_id IS 'sae.id of the SAE whose error is taken away; NULL for the attention itself';
COMMENT ON COLUMN ioi_part.part IS 'attention (all of z) or error (z becomes its reconstruction)';
COMMENT ON COLUMN ioi_part.place IS 'IO, S1, conjunction, S2 or end';
COMMENT ON COLUMN ioi_part.how IS 'zero; mean over prompts; resample: at S2 and end from the run with a third name at S2, elsewhere from the run with two other names';
COMMENT ON COLUMN ioi_part.names IS 'both, or the order ABBA or BABA';
COMMENT ON COLUMN ioi_part.value IS 'Mean change of the difference of logits';
COMMENT ON COLUMN ioi_part.low IS 'Lower end of the 95 % bootstrap interval over prompts';
COMMENT ON COLUMN ioi_part.high IS 'Upper end of the same interval';
COMMENT ON COLUMN ioi_part.n IS 'Prompts';
COMMENT ON COLUMN ioi_part.run IS 'run.id of the study';

CREATE TABLE ioi_feature (
  model VARCHAR, sae_id VARCHAR, feature INTEGER, place VARCHAR, how VARCHAR, names VARCHAR,
  fired DOUBLE, estimate DOUBLE, head INTEGER, head_share DOUBLE, value DOUBLE, low DOUBLE,
  high DOUBLE, n BIGINT, run VARCHAR);
COMMENT ON TABLE ioi_feature IS 'What ablating one feature at one place does to the difference of logits, the SAE''s error kept; the features that a first-order estimate ranks highest.';
COMMENT ON COLUMN ioi_feature.model IS 'model.id';
COMMENT ON COLUMN ioi_feature.sae_id IS 'sae.id';
COMMENT ON COLUMN ioi_feature.feature IS 'feature.feature';
COMMENT ON COLUMN ioi_feature.place IS 'IO, S1, conjunction, S2 or end';
COMMENT ON COLUMN ioi_feature.how IS 'zero; mean over prompts; resample, from the corrupted runs of ioi_part.how';
COMMENT ON COLUMN ioi_feature.names IS 'both, or the order ABBA or BABA';
COMMENT ON COLUMN ioi_feature.fired IS 'Share of prompts in which it fires there';
COMMENT ON COLUMN ioi_feature.estimate IS 'First-order estimate of the change by zeroing, both orders; NULL in other rows';
COMMENT ON COLUMN ioi_feature.head IS 'Head with the largest mean |DFA| to it there';
COMMENT ON COLUMN ioi_feature.head_share IS 'Its share of that over heads';
COMMENT ON COLUMN ioi_feature.value IS 'Mean change of the difference of logits over all prompts, those without the feature too';
COMMENT ON COLUMN ioi_feature.low IS 'Lower end of the 95 % bootstrap interval over prompts';
COMMENT ON COLUMN ioi_feature.high IS 'Upper end of the same interval';
COMMENT ON COLUMN ioi_feature.n IS 'Prompts';
COMMENT ON COLUMN ioi_feature.run IS 'run.id of the study';

CREATE TABLE ioi_noise (
  model VARCHAR, layers INTEGER[], corruption VARCHAR, names VARCHAR, difference DOUBLE,
  difference_low DOUBLE, difference_high DOUBLE, kept_clean DOUBLE, kept_clean_low DOUBLE,
  kept_clean_high DOUBLE, kept_zero DOUBLE, kept_zero_low DOUBLE, kept_zero_high DOUBLE,
  kept_mean DOUBLE, kept_mean_low DOUBLE, kept_mean_high DOUBLE, n BIGINT, run VARCHAR);
COMMENT ON TABLE ioi_noise IS 'The noising test: attention of some layers at S2 is taken from a corrupted run into the clean one.';
COMMENT ON COLUMN ioi_noise.model IS 'model.id';
COMMENT ON COLUMN ioi_noise.layers IS 'Layers whose z at S2 is patched; unless set, the two whose patching costs most on other prompts';
COMMENT ON COLUMN ioi_noise.corruption IS 'clean; the baselines zero and mean, at S2 alone; kept: ... where the relation of the words stays; broken: ... where it does not';
COMMENT ON COLUMN ioi_noise.names IS 'both, or the order ABBA or BABA';
COMMENT ON COLUMN ioi_noise.difference IS 'Mean difference of logits after patching';
COMMENT ON COLUMN ioi_noise.difference_low IS 'Lower end of its 95 % bootstrap interval over prompts';
COMMENT ON COLUMN ioi_noise.difference_high IS 'Upper end of the same interval';
COMMENT ON COLUMN ioi_noise.kept_clean IS 'difference / clean difference';
COMMENT ON COLUMN ioi_noise.kept_clean_low IS 'Lower end of its 95 % bootstrap interval over prompts';
COMMENT ON COLUMN ioi_noise.kept_clean_high IS 'Upper end of the same interval';
COMMENT ON COLUMN ioi_noise.kept_zero IS '(difference - zero) / (clean - zero); NULL where clean and zero do not differ beyond noise';
COMMENT ON COLUMN ioi_noise.kept_zero_low IS 'Lower end of its 95 % bootstrap interval over prompts';
COMMENT ON COLUMN ioi_noise.kept_zero_high IS 'Upper end of the same interval';
COMMENT ON COLUMN ioi_noise.kept_mean IS '(difference - mean) / (clean - mean); NULL where clean and mean do not differ beyond noise';
COMMENT ON COLUMN ioi_noise.kept_mean_low IS 'Lower end of its 95 % bootstrap interval over prompts';
COMMENT ON COLUMN ioi_noise.kept_mean_high IS 'Upper end of the same interval';
COMMENT ON COLUMN ioi_noise.n IS 'Prompts';
COMMENT ON COLUMN ioi_noise.run IS 'run.id of the study';
