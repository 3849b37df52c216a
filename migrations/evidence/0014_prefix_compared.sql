-- The prefix study compares what the features of the two classes of induction heads are about.

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
