-- The prefix study: induction of every head by length of the repeated prefix, PAPER.md section 8.

CREATE TABLE prefix_score (
  model VARCHAR, layer INTEGER, head INTEGER, measure VARCHAR, length INTEGER, value DOUBLE,
  low DOUBLE, high DOUBLE, n BIGINT, run VARCHAR);
COMMENT ON TABLE prefix_score IS 'Induction of a head on random tokens by length of the repeated prefix: at the last token of the second copy, towards the token behind the first.';
COMMENT ON COLUMN prefix_score.model IS 'model.id';
COMMENT ON COLUMN prefix_score.layer IS 'Layer of the head';
COMMENT ON COLUMN prefix_score.head IS 'Head index in the layer';
COMMENT ON COLUMN prefix_score.measure IS 'attention (to the source, 0 to 1) or logit (direct effect on the source token''s logit against the mean logit, final norm scale frozen)';
COMMENT ON COLUMN prefix_score.length IS 'Tokens of the repeated prefix, 1 to 9';
COMMENT ON COLUMN prefix_score.value IS 'Mean over sequences';
COMMENT ON COLUMN prefix_score.low IS 'Lower end of the 95 % bootstrap interval over sequences';
COMMENT ON COLUMN prefix_score.high IS 'Upper end of the same interval';
COMMENT ON COLUMN prefix_score.n IS 'Sequences';
COMMENT ON COLUMN prefix_score.run IS 'run.id of the study';

CREATE TABLE prefix_head (
  model VARCHAR, layer INTEGER, head INTEGER, class VARCHAR, one DOUBLE, one_low DOUBLE,
  one_high DOUBLE, one_n BIGINT, long DOUBLE, long_low DOUBLE, long_high DOUBLE, long_n BIGINT,
  text_windows BIGINT, text_lengths INTEGER[], run VARCHAR);
COMMENT ON TABLE prefix_head IS 'Class of every head by the prefix that its induction needs, and prefix lengths where it attends on real text.';
COMMENT ON COLUMN prefix_head.model IS 'model.id';
COMMENT ON COLUMN prefix_head.layer IS 'Layer of the head';
COMMENT ON COLUMN prefix_head.head IS 'Head index in the layer';
COMMENT ON COLUMN prefix_head.class IS 'long-prefix, short-prefix or none: induction where long_low reaches 0.2; short-prefix where one is at least half of long';
COMMENT ON COLUMN prefix_head.one IS 'Mean attention score at a prefix of one token, on random tokens';
COMMENT ON COLUMN prefix_head.one_low IS 'Lower end of its 95 % bootstrap interval over sequences';
COMMENT ON COLUMN prefix_head.one_high IS 'Upper end of the same interval';
COMMENT ON COLUMN prefix_head.one_n IS 'Sequences';
COMMENT ON COLUMN prefix_head.long IS 'Mean attention score over prefixes of five to nine tokens';
COMMENT ON COLUMN prefix_head.long_low IS 'Lower end of its 95 % bootstrap interval over sequences';
COMMENT ON COLUMN prefix_head.long_high IS 'Upper end of the same interval';
COMMENT ON COLUMN prefix_head.long_n IS 'Sequences of all those lengths';
COMMENT ON COLUMN prefix_head.text_windows IS 'Windows of real text in which the head attends above the threshold to an earlier token that is no start token';
COMMENT ON COLUMN prefix_head.text_lengths IS 'Those windows by the prefix length of the first such pair: element n + 1 counts length n, the last one 10 and more';
COMMENT ON COLUMN prefix_head.run IS 'run.id of the study';

CREATE TABLE prefix_break (
  model VARCHAR, layer INTEGER, head INTEGER, control VARCHAR, before DOUBLE, before_low DOUBLE,
  before_high DOUBLE, after DOUBLE, after_low DOUBLE, after_high DOUBLE, kept DOUBLE,
  kept_low DOUBLE, kept_high DOUBLE, prefix DOUBLE, n BIGINT, run VARCHAR);
COMMENT ON TABLE prefix_break IS 'Attention of a head on real text before and after the prefix of two or more tokens is cut to one by replacing the token at S-2.';
COMMENT ON COLUMN prefix_break.model IS 'model.id';
COMMENT ON COLUMN prefix_break.layer IS 'Layer of the head';
COMMENT ON COLUMN prefix_break.head IS 'Head index in the layer';
COMMENT ON COLUMN prefix_break.control IS 'What replaced the token: random (token), resample (token of the text), mean (embedding); or elsewhere: a random token at a place outside both prefixes';
COMMENT ON COLUMN prefix_break.before IS 'Mean attention before; events are picked above a threshold, so it is high by choice';
COMMENT ON COLUMN prefix_break.before_low IS 'Lower end of its 95 % bootstrap interval over windows; NULL under five';
COMMENT ON COLUMN prefix_break.before_high IS 'Upper end of the same interval';
COMMENT ON COLUMN prefix_break.after IS 'Mean attention at the same places afterwards';
COMMENT ON COLUMN prefix_break.after_low IS 'Lower end of its 95 % bootstrap interval over windows';
COMMENT ON COLUMN prefix_break.after_high IS 'Upper end of the same interval';
COMMENT ON COLUMN prefix_break.kept IS 'after / before; compare with elsewhere, which also falls back from the choice of high values';
COMMENT ON COLUMN prefix_break.kept_low IS 'Lower end of its 95 % bootstrap interval over windows';
COMMENT ON COLUMN prefix_break.kept_high IS 'Upper end of the same interval';
COMMENT ON COLUMN prefix_break.prefix IS 'Mean prefix length before the break, counted up to 10';
COMMENT ON COLUMN prefix_break.n IS 'Windows, one event each';
COMMENT ON COLUMN prefix_break.run IS 'run.id of the study';

CREATE TABLE prefix_feature (
  model VARCHAR, sae_id VARCHAR, class VARCHAR, heads BIGINT, measure VARCHAR, value DOUBLE,
  low DOUBLE, high DOUBLE, n BIGINT, run VARCHAR);
COMMENT ON TABLE prefix_feature IS 'SAE features compared by the class of the head that gives most to them.';
COMMENT ON COLUMN prefix_feature.model IS 'model.id';
COMMENT ON COLUMN prefix_feature.sae_id IS 'sae.id';
COMMENT ON COLUMN prefix_feature.class IS 'Class of the leading head, as in prefix_head';
COMMENT ON COLUMN prefix_feature.heads IS 'Heads of that class that lead a feature there';
COMMENT ON COLUMN prefix_feature.measure IS 'distance (to the strongest source), one (share of firings whose token stands before the source), two (share whose last two tokens do), or family NAME (share of features)';
COMMENT ON COLUMN prefix_feature.value IS 'Mean over features, each the mean of its randomly kept firings';
COMMENT ON COLUMN prefix_feature.low IS 'Lower end of the 95 % bootstrap interval over features; NULL under five';
COMMENT ON COLUMN prefix_feature.high IS 'Upper end of the same interval';
COMMENT ON COLUMN prefix_feature.n IS 'Features';
COMMENT ON COLUMN prefix_feature.run IS 'run.id of the study';
