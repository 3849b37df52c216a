-- Studies: features of the two prefix classes compared, families by activation, the induction detector.

CREATE TABLE prefix_compare (
  model VARCHAR, what VARCHAR, name VARCHAR, short DOUBLE, short_low DOUBLE, short_high DOUBLE,
  short_n BIGINT, long DOUBLE, long_low DOUBLE, long_high DOUBLE, long_n BIGINT,
  difference DOUBLE, p_heads DOUBLE, p_features DOUBLE, short_heads BIGINT, long_heads BIGINT,
  run VARCHAR);
COMMENT ON TABLE prefix_compare IS 'Features that short-prefix heads lead against features that long-prefix heads lead: families, kinds of label, and how much of the text before the source matches.';
COMMENT ON COLUMN prefix_compare.model IS 'model.id';
COMMENT ON COLUMN prefix_compare.what IS 'family (name is a family, or none), label (name is a title with its words left out, or none), or measure (as in prefix_feature)';
COMMENT ON COLUMN prefix_compare.name IS 'What is compared; all for the whole distribution over families or labels';
COMMENT ON COLUMN prefix_compare.short IS 'Share of the features of short-prefix heads, or mean of the measure over them';
COMMENT ON COLUMN prefix_compare.short_low IS 'Lower end of the 95 % bootstrap interval over features';
COMMENT ON COLUMN prefix_compare.short_high IS 'Upper end of the same interval';
COMMENT ON COLUMN prefix_compare.short_n IS 'Features';
COMMENT ON COLUMN prefix_compare.long IS 'The same of long-prefix heads';
COMMENT ON COLUMN prefix_compare.long_low IS 'Lower end of the 95 % bootstrap interval over features';
COMMENT ON COLUMN prefix_compare.long_high IS 'Upper end of the same interval';
COMMENT ON COLUMN prefix_compare.long_n IS 'Features';
COMMENT ON COLUMN prefix_compare.difference IS 'short - long; for all: total variation between the two distributions, 0 to 1';
COMMENT ON COLUMN prefix_compare.p_heads IS 'Share of 2,000 draws, classes dealt out again to whole heads, that are at least as far apart';
COMMENT ON COLUMN prefix_compare.p_features IS 'The same with classes dealt out again to the features of each layer, which takes features as independent; NULL where no layer has both classes';
COMMENT ON COLUMN prefix_compare.short_heads IS 'Short-prefix heads that lead a feature';
COMMENT ON COLUMN prefix_compare.long_heads IS 'Long-prefix heads that lead a feature';
COMMENT ON COLUMN prefix_compare.run IS 'run.id of the study';

CREATE TABLE prefix_label (
  model VARCHAR, class VARCHAR, layer INTEGER, head INTEGER, rank SMALLINT, sae_id VARCHAR,
  feature INTEGER, title VARCHAR, family VARCHAR, share DOUBLE, two DOUBLE, leads BIGINT,
  run VARCHAR);
COMMENT ON TABLE prefix_label IS 'The features that each short-prefix and long-prefix head gives most to, with their labels.';
COMMENT ON COLUMN prefix_label.model IS 'model.id';
COMMENT ON COLUMN prefix_label.class IS 'Class of the head, as in prefix_head';
COMMENT ON COLUMN prefix_label.layer IS 'Layer of the head';
COMMENT ON COLUMN prefix_label.head IS 'Head index in the layer';
COMMENT ON COLUMN prefix_label.rank IS 'Order by share among the features that the head leads, from 0';
COMMENT ON COLUMN prefix_label.sae_id IS 'sae.id';
COMMENT ON COLUMN prefix_label.feature IS 'feature.feature';
COMMENT ON COLUMN prefix_label.title IS 'The title shown for the feature; NULL where it has none';
COMMENT ON COLUMN prefix_label.family IS 'Its family by rule; NULL where none holds';
COMMENT ON COLUMN prefix_label.share IS 'What the head gives to it of all heads, measured';
COMMENT ON COLUMN prefix_label.two IS 'Share of its random firings whose last two tokens stand before the source too';
COMMENT ON COLUMN prefix_label.leads IS 'Features that the head leads in all';
COMMENT ON COLUMN prefix_label.run IS 'run.id of the study';

ALTER TABLE feature_family ADD COLUMN predictor VARCHAR;
ALTER TABLE feature_family ADD COLUMN bin_fired BIGINT[];
ALTER TABLE feature_family ADD COLUMN bin_hits BIGINT[];
COMMENT ON COLUMN feature_family.predictor IS 'What the family predicts from: words (those of `words`), firing words too where the feature fires on few, repetition alone (the word stood there before) where no words cover half of its examples, or position';
COMMENT ON COLUMN feature_family.bin_fired IS 'Firings on held-out text by activation: ten equal bins between 0 and the largest one';
COMMENT ON COLUMN feature_family.bin_hits IS 'Those at predicted positions; NULL for first_token';

ALTER TABLE family_share ADD COLUMN precision_chance FLOAT;
COMMENT ON COLUMN family_share.precision_chance IS 'Precision if as many firings stood anywhere: the share of positions that are predicted, each feature weighed by its firings';

CREATE TABLE family_bin (
  sae SMALLINT, family VARCHAR, bin SMALLINT, fired BIGINT,
  replicated FLOAT, replicated_low FLOAT, replicated_high FLOAT,
  precision FLOAT, precision_low FLOAT, precision_high FLOAT, run VARCHAR);
COMMENT ON TABLE family_bin IS 'How well families do by activation, over the features that each is the best family of; intervals are Wilson''s, each firing counting as independent.';
COMMENT ON COLUMN family_bin.sae IS 'sae.sae';
COMMENT ON COLUMN family_bin.family IS 'feature_family.family';
COMMENT ON COLUMN family_bin.bin IS 'Tenth of the feature''s own largest held-out activation, from 0';
COMMENT ON COLUMN family_bin.fired IS 'Held-out firings in it';
COMMENT ON COLUMN family_bin.replicated IS 'Share of them that the rule explains by their DFA';
COMMENT ON COLUMN family_bin.replicated_low IS 'Lower end of its interval';
COMMENT ON COLUMN family_bin.replicated_high IS 'Upper end of it';
COMMENT ON COLUMN family_bin.precision IS 'Share of them at positions that the family predicts from words and positions alone (PAPER.md 6.1: specificity by activation)';
COMMENT ON COLUMN family_bin.precision_low IS 'Lower end of its interval';
COMMENT ON COLUMN family_bin.precision_high IS 'Upper end of it';
COMMENT ON COLUMN family_bin.run IS 'run.id';

CREATE TABLE feature_induction (
  sae SMALLINT, feature INTEGER, token INTEGER, second FLOAT, second_low FLOAT, second_high FLOAT,
  second_n BIGINT, first FLOAT, elsewhere FLOAT, delivered FLOAT, fires BOOLEAN, found BOOLEAN,
  by_rule BOOLEAN, run VARCHAR);
COMMENT ON TABLE feature_induction IS 'The induction detector of the paper''s first post, for every living feature, beside the rule on measured DFA: random tokens said twice, [A][X] ... [A], X boosted by the feature''s decoder.';
COMMENT ON COLUMN feature_induction.sae IS 'sae.sae';
COMMENT ON COLUMN feature_induction.feature IS 'feature.feature';
COMMENT ON COLUMN feature_induction.token IS 'X: of the tokens that its decoder boosts most (how many is in the run''s samples) the one before whose second copy it fires most often';
COMMENT ON COLUMN feature_induction.second IS 'Share of second A on which it fires';
COMMENT ON COLUMN feature_induction.second_low IS 'Lower end of its 95 % Wilson interval';
COMMENT ON COLUMN feature_induction.second_high IS 'Upper end of it';
COMMENT ON COLUMN feature_induction.second_n IS 'Sequences with that X, each with another A';
COMMENT ON COLUMN feature_induction.first IS 'Share of first A, before the same X, on which it fires: no induction is possible there';
COMMENT ON COLUMN feature_induction.elsewhere IS 'Share of all other second copies on which it fires';
COMMENT ON COLUMN feature_induction.delivered IS 'Share of its decoder''s weight in heads that do induction in the same sequences (induction_share.heads)';
COMMENT ON COLUMN feature_induction.fires IS 'Whether second reaches 0.5 and twice first and elsewhere';
COMMENT ON COLUMN feature_induction.found IS 'fires, and delivered reaches 0.5';
COMMENT ON COLUMN feature_induction.by_rule IS 'Whether the induction rule on its measured DFA holds (feature_family)';
COMMENT ON COLUMN feature_induction.run IS 'run.id';

CREATE TABLE induction_share (
  sae SMALLINT, heads SMALLINT[], live INTEGER, found INTEGER, share FLOAT, share_low FLOAT,
  share_high FLOAT, chance INTEGER, fires INTEGER, by_rule INTEGER, rule_share FLOAT,
  rule_share_low FLOAT, rule_share_high FLOAT, by_both INTEGER, agreement FLOAT, kappa FLOAT,
  run VARCHAR);
COMMENT ON TABLE induction_share IS 'How many features of an SAE the induction detector finds, and how far the rule on measured DFA agrees.';
COMMENT ON COLUMN induction_share.sae IS 'sae.sae';
COMMENT ON COLUMN induction_share.heads IS 'Heads of its layer that attend from second A to first X with 0.2 or more on average: the known induction heads';
COMMENT ON COLUMN induction_share.live IS 'Features that fired while mining';
COMMENT ON COLUMN induction_share.found IS 'Those that the detector finds';
COMMENT ON COLUMN induction_share.share IS 'found / live';
COMMENT ON COLUMN induction_share.share_low IS 'Lower end of its 95 % Wilson interval';
COMMENT ON COLUMN induction_share.share_high IS 'Upper end of it';
COMMENT ON COLUMN induction_share.chance IS 'Found when every feature is given the boosted tokens of another one, drawn at random';
COMMENT ON COLUMN induction_share.fires IS 'Features that fire as the detector asks, whichever heads deliver them';
COMMENT ON COLUMN induction_share.by_rule IS 'Features for which the rule on DFA holds';
COMMENT ON COLUMN induction_share.rule_share IS 'by_rule / live';
COMMENT ON COLUMN induction_share.rule_share_low IS 'Lower end of its 95 % Wilson interval';
COMMENT ON COLUMN induction_share.rule_share_high IS 'Upper end of it';
COMMENT ON COLUMN induction_share.by_both IS 'Features that both find';
COMMENT ON COLUMN induction_share.agreement IS 'Share of the features on which both say the same';
COMMENT ON COLUMN induction_share.kappa IS 'Cohen''s kappa of the two; NULL where neither finds any';
COMMENT ON COLUMN induction_share.run IS 'run.id';

CREATE TABLE head_ranking (
  model VARCHAR, ranking VARCHAR, rank INTEGER, layer INTEGER, head INTEGER, condition VARCHAR,
  value DOUBLE, low DOUBLE, high DOUBLE, n BIGINT, check_condition VARCHAR, check_value DOUBLE,
  check_rank INTEGER, run VARCHAR);
COMMENT ON TABLE head_ranking IS 'Heads ranked for induction, previous token and duplicate token by the one measure that says it best, with their rank by the same quantity measured otherwise.';
COMMENT ON COLUMN head_ranking.model IS 'model.id';
COMMENT ON COLUMN head_ranking.ranking IS 'What heads are ranked for: the metric of head_metric';
COMMENT ON COLUMN head_ranking.rank IS 'From 1';
COMMENT ON COLUMN head_ranking.layer IS 'Layer, from 0';
COMMENT ON COLUMN head_ranking.head IS 'Query head in the layer, from 0';
COMMENT ON COLUMN head_ranking.condition IS 'Condition of head_metric that ranks: repeated_random for induction (attention from second copies to what followed the first) and duplicate_token (to the first copy), corpus for previous_token (all destinations of held-out text but position 0)';
COMMENT ON COLUMN head_ranking.value IS 'Mean attention there';
COMMENT ON COLUMN head_ranking.low IS 'Lower end of its 95 % interval';
COMMENT ON COLUMN head_ranking.high IS 'Upper end of it';
COMMENT ON COLUMN head_ranking.n IS 'Sequences, or destinations of text';
COMMENT ON COLUMN head_ranking.check_condition IS 'Another condition of the same metric';
COMMENT ON COLUMN head_ranking.check_value IS 'Value there';
COMMENT ON COLUMN head_ranking.check_rank IS 'Rank by that value';
COMMENT ON COLUMN head_ranking.run IS 'run.id';

ALTER TABLE ioi_noise ADD COLUMN bos BOOLEAN;
COMMENT ON COLUMN ioi_noise.bos IS 'Whether the prompts begin with the start token, as contexts of training do';

CREATE TABLE ioi_circuit (
  model VARCHAR, layer INTEGER, head INTEGER, place VARCHAR, value DOUBLE, low DOUBLE, high DOUBLE,
  n BIGINT, rank SMALLINT, sae_id VARCHAR, feature INTEGER, title VARCHAR, fired DOUBLE,
  dfa DOUBLE, head_share DOUBLE, run VARCHAR);
COMMENT ON TABLE ioi_circuit IS 'The heads that carry the task, with the features that they give most to where they act.';
COMMENT ON COLUMN ioi_circuit.model IS 'model.id';
COMMENT ON COLUMN ioi_circuit.layer IS 'Layer of the head';
COMMENT ON COLUMN ioi_circuit.head IS 'Head index in the layer';
COMMENT ON COLUMN ioi_circuit.place IS 'S2 or end: where its z is resampled from the prompt with a third name at S2';
COMMENT ON COLUMN ioi_circuit.value IS 'Mean change of the difference of logits by that';
COMMENT ON COLUMN ioi_circuit.low IS 'Lower end of the 95 % bootstrap interval over prompts';
COMMENT ON COLUMN ioi_circuit.high IS 'Upper end of the same interval';
COMMENT ON COLUMN ioi_circuit.n IS 'Prompts of that';
COMMENT ON COLUMN ioi_circuit.rank IS 'Order of the feature by dfa, from 0; NULL where the layer has no SAE';
COMMENT ON COLUMN ioi_circuit.sae_id IS 'sae.id';
COMMENT ON COLUMN ioi_circuit.feature IS 'feature.feature';
COMMENT ON COLUMN ioi_circuit.title IS 'Its best supported title';
COMMENT ON COLUMN ioi_circuit.fired IS 'Share of prompts in which it fires there';
COMMENT ON COLUMN ioi_circuit.dfa IS 'Mean DFA of the head to it there over all prompts, nothing where it is silent';
COMMENT ON COLUMN ioi_circuit.head_share IS 'Share of the head in the mean |DFA| of all heads to it there';
COMMENT ON COLUMN ioi_circuit.run IS 'run.id of the study';
