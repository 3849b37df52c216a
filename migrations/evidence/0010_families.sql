-- Feature families: which rules hold for a feature, how well they do on text that was held out,
-- and how common each family is.

COMMENT ON COLUMN feature.family IS 'Feature family by rule: the best one of feature_family; NULL where no rule holds or none was run';
COMMENT ON COLUMN feature.family_score IS 'Share of kept examples that the family''s rule explains';

CREATE TABLE feature_family (
  sae SMALLINT, feature INTEGER, family VARCHAR, best BOOLEAN, score FLOAT, examples INTEGER,
  words VARCHAR[], fired BIGINT, explained BIGINT, predicted BIGINT, hits BIGINT,
  precision FLOAT, precision_low FLOAT, precision_high FLOAT,
  recall FLOAT, recall_low FLOAT, recall_high FLOAT, run VARCHAR);
COMMENT ON TABLE feature_family IS 'Families whose rule holds for a feature, one row each: measured DFA on kept examples, tested on held-out text.';
COMMENT ON COLUMN feature_family.sae IS 'sae.sae';
COMMENT ON COLUMN feature_family.feature IS 'feature.feature';
COMMENT ON COLUMN feature_family.family IS 'induction, duplicate_token, previous_token, first_token, positional, single_token, current_token, local_context or long_range_context';
COMMENT ON COLUMN feature_family.best IS 'Whether it is the feature''s family: the most specific of those that hold';
COMMENT ON COLUMN feature_family.score IS 'Share of the kept examples that the rule explains';
COMMENT ON COLUMN feature_family.examples IS 'Kept examples that were judged';
COMMENT ON COLUMN feature_family.words IS 'Words that the feature fetches or, for token families, fires on, lower case; the family predicts from them';
COMMENT ON COLUMN feature_family.fired IS 'Firings on held-out text';
COMMENT ON COLUMN feature_family.explained IS 'Those that the rule explains by their DFA (by the text for single_token and positional)';
COMMENT ON COLUMN feature_family.predicted IS 'Held-out positions where the family says, from words and positions alone, that the feature fires; NULL for first_token, which says nothing of that';
COMMENT ON COLUMN feature_family.hits IS 'Predicted positions where it fires';
COMMENT ON COLUMN feature_family.precision IS 'hits / fired';
COMMENT ON COLUMN feature_family.precision_low IS 'Lower end of its 95 % Wilson interval';
COMMENT ON COLUMN feature_family.precision_high IS 'Upper end of it';
COMMENT ON COLUMN feature_family.recall IS 'hits / predicted';
COMMENT ON COLUMN feature_family.recall_low IS 'Lower end of its 95 % Wilson interval';
COMMENT ON COLUMN feature_family.recall_high IS 'Upper end of it';
COMMENT ON COLUMN feature_family.run IS 'run.id';

CREATE TABLE family_share (
  sae SMALLINT, family VARCHAR, features INTEGER, holding INTEGER, live INTEGER,
  share FLOAT, share_low FLOAT, share_high FLOAT,
  replicated FLOAT, replicated_low FLOAT, replicated_high FLOAT, replicated_n BIGINT,
  precision FLOAT, precision_low FLOAT, precision_high FLOAT, precision_n BIGINT,
  strong_precision FLOAT, strong_precision_low FLOAT, strong_precision_high FLOAT,
  strong_precision_n BIGINT, recall FLOAT, recall_low FLOAT, recall_high FLOAT, recall_n BIGINT,
  specificity FLOAT, run VARCHAR);
COMMENT ON TABLE family_share IS 'How common each family is in an SAE, and how well its rule does on held-out text, over all features it holds for; intervals are Wilson''s, each firing counting as independent.';
COMMENT ON COLUMN family_share.sae IS 'sae.sae';
COMMENT ON COLUMN family_share.family IS 'feature_family.family';
COMMENT ON COLUMN family_share.features IS 'Features of which it is the best family';
COMMENT ON COLUMN family_share.holding IS 'Features for which its rule holds';
COMMENT ON COLUMN family_share.live IS 'Features with kept examples';
COMMENT ON COLUMN family_share.share IS 'features / live';
COMMENT ON COLUMN family_share.share_low IS 'Lower end of its 95 % Wilson interval';
COMMENT ON COLUMN family_share.share_high IS 'Upper end of it';
COMMENT ON COLUMN family_share.replicated IS 'Share of held-out firings that the rule explains by their DFA';
COMMENT ON COLUMN family_share.replicated_low IS 'Lower end of its interval';
COMMENT ON COLUMN family_share.replicated_high IS 'Upper end of it';
COMMENT ON COLUMN family_share.replicated_n IS 'Held-out firings';
COMMENT ON COLUMN family_share.precision IS 'Share of held-out firings at positions that the family predicts from words and positions alone';
COMMENT ON COLUMN family_share.precision_low IS 'Lower end of its interval';
COMMENT ON COLUMN family_share.precision_high IS 'Upper end of it';
COMMENT ON COLUMN family_share.precision_n IS 'Held-out firings';
COMMENT ON COLUMN family_share.strong_precision IS 'The same of firings at least half as strong as the feature''s strongest held-out one';
COMMENT ON COLUMN family_share.strong_precision_low IS 'Lower end of its interval';
COMMENT ON COLUMN family_share.strong_precision_high IS 'Upper end of it';
COMMENT ON COLUMN family_share.strong_precision_n IS 'Those firings';
COMMENT ON COLUMN family_share.recall IS 'Sensitivity: share of predicted positions where the feature fires';
COMMENT ON COLUMN family_share.recall_low IS 'Lower end of its interval';
COMMENT ON COLUMN family_share.recall_high IS 'Upper end of it';
COMMENT ON COLUMN family_share.recall_n IS 'Predicted positions';
COMMENT ON COLUMN family_share.specificity IS 'Share of the positions that are not predicted where the feature does not fire';
COMMENT ON COLUMN family_share.run IS 'run.id';
