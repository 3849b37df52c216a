-- The first schema of a snapshot: models, runs, SAEs, features and everything measured of them.
-- Big tables are sorted by (sae, feature): zone maps do the work of an index. No keys, no indexes:
-- uniqueness and references are checked at publish. `sae` is a small number that belongs to this
-- snapshot; the lasting name is `sae.id`.

CREATE TABLE model (
  id VARCHAR, name VARCHAR, family VARCHAR, n_layers INTEGER, n_heads INTEGER, n_kv_heads INTEGER,
  d_head INTEGER, d_model INTEGER, vocab_size INTEGER, bos_token INTEGER, weights_sha256 VARCHAR);
COMMENT ON TABLE model IS 'One row per model.';
COMMENT ON COLUMN model.id IS 'Name of the model in every id, such as gpt2';
COMMENT ON COLUMN model.name IS 'Where the weights came from: hub name, folder or wheel';
COMMENT ON COLUMN model.family IS 'Architecture, such as llama';
COMMENT ON COLUMN model.n_layers IS 'Number of layers';
COMMENT ON COLUMN model.n_heads IS 'Query heads per layer';
COMMENT ON COLUMN model.n_kv_heads IS 'Key and value heads per layer; fewer than n_heads under grouped-query attention';
COMMENT ON COLUMN model.d_head IS 'Width of one head';
COMMENT ON COLUMN model.d_model IS 'Width of the residual stream';
COMMENT ON COLUMN model.vocab_size IS 'Number of token ids';
COMMENT ON COLUMN model.bos_token IS 'Token id that starts every context; NULL where none was used';
COMMENT ON COLUMN model.weights_sha256 IS 'Fingerprint of the weights that were run';

CREATE TABLE run (
  id VARCHAR, kind VARCHAR, model VARCHAR, created_at TIMESTAMP, seconds DOUBLE, config VARCHAR,
  versions VARCHAR, device VARCHAR, bos VARCHAR, positions VARCHAR, corpus VARCHAR,
  corpus_sha256 VARCHAR, context_length INTEGER, train_tokens BIGINT, mine_tokens BIGINT,
  bundle_sha256 VARCHAR, counts VARCHAR);
COMMENT ON TABLE run IS 'One row per ingest job whose bundle is in this snapshot.';
COMMENT ON COLUMN run.id IS 'Name of the run; ends in a hash of its configuration';
COMMENT ON COLUMN run.kind IS 'atlas for training and mining, or the name of a study';
COMMENT ON COLUMN run.model IS 'model.id';
COMMENT ON COLUMN run.created_at IS 'When the bundle was completed, UTC';
COMMENT ON COLUMN run.seconds IS 'Wall time of the job in seconds';
COMMENT ON COLUMN run.config IS 'The whole configuration as JSON';
COMMENT ON COLUMN run.versions IS 'Software versions as JSON';
COMMENT ON COLUMN run.device IS 'Device the model ran on';
COMMENT ON COLUMN run.bos IS 'What starts a context: the policy as set';
COMMENT ON COLUMN run.positions IS 'Which positions were left out of training and mining: the policy as set';
COMMENT ON COLUMN run.corpus IS 'Name of the text corpus';
COMMENT ON COLUMN run.corpus_sha256 IS 'Fingerprint of the token ids of all contexts';
COMMENT ON COLUMN run.context_length IS 'Tokens per context, the first one included';
COMMENT ON COLUMN run.train_tokens IS 'Activations the SAEs were trained on, repeats counted';
COMMENT ON COLUMN run.mine_tokens IS 'Token positions that were mined';
COMMENT ON COLUMN run.bundle_sha256 IS 'Fingerprint of the bundle';
COMMENT ON COLUMN run.counts IS 'Rows per table of the bundle, as JSON';

CREATE TABLE sae (
  sae SMALLINT, id VARCHAR, model VARCHAR, layer INTEGER, set_name VARCHAR, hook VARCHAR,
  architecture VARCHAR, d_in INTEGER, d_sae INTEGER, run VARCHAR, l0 DOUBLE, fvu DOUBLE,
  ce_clean DOUBLE, ce_sae DOUBLE, ce_zero DOUBLE, ce_mean DOUBLE,
  ce_sae_low DOUBLE, ce_sae_high DOUBLE, ce_zero_low DOUBLE, ce_zero_high DOUBLE,
  ce_mean_low DOUBLE, ce_mean_high DOUBLE, recovered_zero DOUBLE, recovered_mean DOUBLE,
  eval_tokens BIGINT, dead_share DOUBLE, dead_window BIGINT, weights VARCHAR, weights_sha256 VARCHAR);
COMMENT ON TABLE sae IS 'One row per SAE, with its evaluation on held-out text.';
COMMENT ON COLUMN sae.sae IS 'Small number of the SAE in this snapshot; the big tables use it';
COMMENT ON COLUMN sae.id IS 'Lasting name, such as gpt2/5-att-kk';
COMMENT ON COLUMN sae.model IS 'model.id';
COMMENT ON COLUMN sae.layer IS 'Layer whose attention output it reads, from 0';
COMMENT ON COLUMN sae.set_name IS 'Name of the set of SAEs it belongs to';
COMMENT ON COLUMN sae.hook IS 'Activation it was trained on, such as blocks.5.attn.hook_z';
COMMENT ON COLUMN sae.architecture IS 'jumprelu (a threshold per feature; BatchTopK and ReLU are saved so) or topk';
COMMENT ON COLUMN sae.d_in IS 'Input width: heads times d_head';
COMMENT ON COLUMN sae.d_sae IS 'Number of features';
COMMENT ON COLUMN sae.run IS 'run.id';
COMMENT ON COLUMN sae.l0 IS 'Mean number of features that fire per token';
COMMENT ON COLUMN sae.fvu IS 'Fraction of variance unexplained: residual over total variance around the mean, over the whole batch';
COMMENT ON COLUMN sae.ce_clean IS 'Loss per token of the untouched model, nats';
COMMENT ON COLUMN sae.ce_sae IS 'Loss with z replaced by the reconstruction, nats';
COMMENT ON COLUMN sae.ce_zero IS 'Loss with z set to zero, nats';
COMMENT ON COLUMN sae.ce_mean IS 'Loss with z set to its mean, nats';
COMMENT ON COLUMN sae.ce_sae_low IS 'Lower end of the 95 % interval of ce_sae - ce_clean over contexts';
COMMENT ON COLUMN sae.ce_sae_high IS 'Upper end of the same interval';
COMMENT ON COLUMN sae.ce_zero_low IS 'Lower end of the 95 % interval of ce_zero - ce_clean over contexts';
COMMENT ON COLUMN sae.ce_zero_high IS 'Upper end of the same interval';
COMMENT ON COLUMN sae.ce_mean_low IS 'Lower end of the 95 % interval of ce_mean - ce_clean over contexts';
COMMENT ON COLUMN sae.ce_mean_high IS 'Upper end of the same interval';
COMMENT ON COLUMN sae.recovered_zero IS 'CE loss recovered against zero ablation; NULL where zeroing costs no more than its own noise';
COMMENT ON COLUMN sae.recovered_mean IS 'CE loss recovered against mean ablation; NULL where that costs no more than its own noise';
COMMENT ON COLUMN sae.eval_tokens IS 'Held-out tokens of the evaluation';
COMMENT ON COLUMN sae.dead_share IS 'Share of features that never fired in the last dead_window training tokens';
COMMENT ON COLUMN sae.dead_window IS 'Tokens over which dead_share was counted';
COMMENT ON COLUMN sae.weights IS 'Name of the weights file';
COMMENT ON COLUMN sae.weights_sha256 IS 'Fingerprint of the weights file';

CREATE TABLE feature (
  sae SMALLINT, feature INTEGER, firings BIGINT, tokens BIGINT, density DOUBLE,
  density_low DOUBLE, density_high DOUBLE, max_act FLOAT, mean_act FLOAT, std_act FLOAT,
  histogram INTEGER[], top_tokens INTEGER[], top_logits FLOAT[], bottom_tokens INTEGER[],
  bottom_logits FLOAT[], bias FLOAT, weight_head SMALLINT, weight_share FLOAT, weight_entropy FLOAT,
  dfa_head SMALLINT, dfa_share FLOAT, dfa_entropy FLOAT, disagreement FLOAT, disagree BOOLEAN,
  residual FLOAT, family VARCHAR, family_score FLOAT);
COMMENT ON TABLE feature IS 'One row per feature: how often and how strongly it fires, what it writes, which heads make it.';
COMMENT ON COLUMN feature.sae IS 'sae.sae';
COMMENT ON COLUMN feature.feature IS 'Index of the feature in its SAE, from 0';
COMMENT ON COLUMN feature.firings IS 'Mined positions where it fired';
COMMENT ON COLUMN feature.tokens IS 'Mined positions in all';
COMMENT ON COLUMN feature.density IS 'firings / tokens';
COMMENT ON COLUMN feature.density_low IS 'Lower end of the 95 % Wilson interval of density';
COMMENT ON COLUMN feature.density_high IS 'Upper end of the 95 % Wilson interval of density';
COMMENT ON COLUMN feature.max_act IS 'Largest activation seen; 0 for a feature that never fired';
COMMENT ON COLUMN feature.mean_act IS 'Mean activation over firings';
COMMENT ON COLUMN feature.std_act IS 'Standard deviation of the activation over firings';
COMMENT ON COLUMN feature.histogram IS 'Firings per logarithmic bin: bin b of 64 holds activations from 2^(-8+b/4) to 2^(-8+(b+1)/4), the first and last take what lies beyond';
COMMENT ON COLUMN feature.top_tokens IS 'Token ids whose logits the decoder direction raises most, through W_O and the unembedding';
COMMENT ON COLUMN feature.top_logits IS 'Their logit effect per unit of activation, final norm scale left out';
COMMENT ON COLUMN feature.bottom_tokens IS 'Token ids whose logits it lowers most';
COMMENT ON COLUMN feature.bottom_logits IS 'Their logit effect';
COMMENT ON COLUMN feature.bias IS 'Part of the pre-activation that belongs to no head and no source: c_i, PAPER.md section 5.2';
COMMENT ON COLUMN feature.weight_head IS 'Head with the largest share of the decoder norm';
COMMENT ON COLUMN feature.weight_share IS 'Its share (ratio of norms, not of squares)';
COMMENT ON COLUMN feature.weight_entropy IS 'Entropy of the weight shares over heads, bits';
COMMENT ON COLUMN feature.dfa_head IS 'Head with the largest measured share; NULL for a feature that never fired';
COMMENT ON COLUMN feature.dfa_share IS 'Its measured share: mean |DFA| of the head over the sum of that over heads';
COMMENT ON COLUMN feature.dfa_entropy IS 'Entropy of the measured shares over heads, bits';
COMMENT ON COLUMN feature.disagreement IS 'Half the sum of |weight share - measured share| over heads, 0 to 1';
COMMENT ON COLUMN feature.disagree IS 'Whether the two top heads differ and disagreement exceeds 0.25';
COMMENT ON COLUMN feature.residual IS 'Largest |pre-activation - bias - sum of DFA| over the kept examples: an exactness check';
COMMENT ON COLUMN feature.family IS 'Feature family by rule, such as induction; NULL where no rule applies or none was run';
COMMENT ON COLUMN feature.family_score IS 'Share of kept examples that the family rule explains';

CREATE TABLE feature_head (
  sae SMALLINT, feature INTEGER, head SMALLINT, weight_share FLOAT, dfa_mean FLOAT,
  dfa_share FLOAT, won FLOAT);
COMMENT ON TABLE feature_head IS 'One row per feature and head of its layer.';
COMMENT ON COLUMN feature_head.sae IS 'sae.sae';
COMMENT ON COLUMN feature_head.feature IS 'feature.feature';
COMMENT ON COLUMN feature_head.head IS 'Head index in the layer, from 0';
COMMENT ON COLUMN feature_head.weight_share IS 'Share of the decoder norm in this head''s slice';
COMMENT ON COLUMN feature_head.dfa_mean IS 'Mean signed DFA of this head over all firings; NULL for a feature that never fired';
COMMENT ON COLUMN feature_head.dfa_share IS 'Mean |DFA| of this head over the sum of that over heads';
COMMENT ON COLUMN feature_head.won IS 'Share of firings in which this head has the largest signed DFA';

CREATE TABLE context (
  ctx INTEGER, run VARCHAR, doc VARCHAR, source VARCHAR, start INTEGER, tokens INTEGER[]);
COMMENT ON TABLE context IS 'The text windows that examples point into, each stored once.';
COMMENT ON COLUMN context.ctx IS 'Number of the context in this snapshot';
COMMENT ON COLUMN context.run IS 'run.id';
COMMENT ON COLUMN context.doc IS 'Id of the document it was cut from';
COMMENT ON COLUMN context.source IS 'Name of the collection the document belongs to';
COMMENT ON COLUMN context.start IS 'Tokens of the document before this window';
COMMENT ON COLUMN context.tokens IS 'Token ids, the start-of-context token included';

CREATE TABLE vocab (model VARCHAR, token INTEGER, text VARCHAR);
COMMENT ON TABLE vocab IS 'Text of every token id of a model.';
COMMENT ON COLUMN vocab.model IS 'model.id';
COMMENT ON COLUMN vocab.token IS 'Token id';
COMMENT ON COLUMN vocab.text IS 'Its text, spaces and newlines as they are';

CREATE TABLE example (
  sae SMALLINT, feature INTEGER, kind VARCHAR, band SMALLINT, rank SMALLINT, ctx INTEGER,
  pos SMALLINT, act FLOAT, token INTEGER, act_pos SMALLINT[], act_val FLOAT[], head_dfa FLOAT[],
  src_pos SMALLINT[], src_dfa FLOAT[], src_head SMALLINT[], src_rest FLOAT, src_token INTEGER,
  distance SMALLINT, residual FLOAT);
COMMENT ON TABLE example IS 'Kept firings: one token in its context, with what made the feature fire there.';
COMMENT ON COLUMN example.sae IS 'sae.sae';
COMMENT ON COLUMN example.feature IS 'feature.feature';
COMMENT ON COLUMN example.kind IS 'top (strongest, one per context), interval (drawn from an activation interval), random (drawn from all firings) or near_miss (no firing, pre-activation just below)';
COMMENT ON COLUMN example.band IS 'For interval: number of the equal-width interval between 0 and the maximum, from 0; else NULL';
COMMENT ON COLUMN example.rank IS 'Order within kind, from 0; strongest first for top';
COMMENT ON COLUMN example.ctx IS 'context.ctx';
COMMENT ON COLUMN example.pos IS 'Position of the token in its context, from 0 (the destination)';
COMMENT ON COLUMN example.act IS 'Activation there; for near_miss the pre-activation';
COMMENT ON COLUMN example.token IS 'Token id at pos';
COMMENT ON COLUMN example.act_pos IS 'All positions of the context where the feature fires';
COMMENT ON COLUMN example.act_val IS 'Activations at act_pos';
COMMENT ON COLUMN example.head_dfa IS 'DFA of every head at pos, signed; with bias and residual they sum to the pre-activation';
COMMENT ON COLUMN example.src_pos IS 'Source positions with the largest |DFA|, strongest first';
COMMENT ON COLUMN example.src_dfa IS 'DFA of those sources, summed over heads, signed';
COMMENT ON COLUMN example.src_head IS 'Head that carries the largest part of each of them';
COMMENT ON COLUMN example.src_rest IS 'Sum of DFA over all sources that are not listed';
COMMENT ON COLUMN example.src_token IS 'Token id at the source with the largest signed DFA';
COMMENT ON COLUMN example.distance IS 'pos minus the position of that source';
COMMENT ON COLUMN example.residual IS 'Pre-activation minus bias minus the sum of DFA over heads and sources';

CREATE TABLE neighbour (
  sae SMALLINT, feature INTEGER, rank SMALLINT, other_sae SMALLINT, other_feature INTEGER,
  cosine FLOAT, jaccard FLOAT);
COMMENT ON TABLE neighbour IS 'Features that write in nearly the same direction.';
COMMENT ON COLUMN neighbour.sae IS 'sae.sae';
COMMENT ON COLUMN neighbour.feature IS 'feature.feature';
COMMENT ON COLUMN neighbour.rank IS 'Order by cosine within the other SAE, from 0';
COMMENT ON COLUMN neighbour.other_sae IS 'sae.sae of the neighbour';
COMMENT ON COLUMN neighbour.other_feature IS 'feature.feature of the neighbour';
COMMENT ON COLUMN neighbour.cosine IS 'Cosine of the two decoder directions; across layers, of their images in the residual stream';
COMMENT ON COLUMN neighbour.jaccard IS 'Positions where both fire over positions where either fires; NULL where not counted';

CREATE TABLE label (
  sae SMALLINT, feature INTEGER, side VARCHAR, method VARCHAR, model VARCHAR, prompt VARCHAR,
  text VARCHAR, support FLOAT, support_low FLOAT, support_high FLOAT, n INTEGER, rule VARCHAR);
COMMENT ON TABLE label IS 'Machine labels; what people write is in the notes.';
COMMENT ON COLUMN label.sae IS 'sae.sae';
COMMENT ON COLUMN label.feature IS 'feature.feature';
COMMENT ON COLUMN label.side IS 'title, when (it fires), fetches (what the heads bring) or says (which tokens it promotes)';
COMMENT ON COLUMN label.method IS 'tokens (by rule, no language model) or llm';
COMMENT ON COLUMN label.model IS 'Language model that wrote it; NULL for tokens';
COMMENT ON COLUMN label.prompt IS 'Version of the prompt; NULL for tokens';
COMMENT ON COLUMN label.text IS 'The label';
COMMENT ON COLUMN label.support IS 'Share of the examples held back from labelling that the label''s own rule explains';
COMMENT ON COLUMN label.support_low IS 'Lower end of the 95 % Wilson interval of support';
COMMENT ON COLUMN label.support_high IS 'Upper end of it';
COMMENT ON COLUMN label.n IS 'Examples the support was counted on';
COMMENT ON COLUMN label.rule IS 'The rule as JSON; NULL for llm';

CREATE TABLE label_score (
  sae SMALLINT, feature INTEGER, method VARCHAR, model VARCHAR, prompt VARCHAR, scorer VARCHAR,
  score FLOAT, score_low FLOAT, score_high FLOAT, n INTEGER, judgements VARCHAR);
COMMENT ON TABLE label_score IS 'How well a label predicts firing.';
COMMENT ON COLUMN label_score.sae IS 'sae.sae';
COMMENT ON COLUMN label_score.feature IS 'feature.feature';
COMMENT ON COLUMN label_score.method IS 'label.method';
COMMENT ON COLUMN label_score.model IS 'label.model';
COMMENT ON COLUMN label_score.prompt IS 'label.prompt';
COMMENT ON COLUMN label_score.scorer IS 'detection, fuzzing, simulation or rule';
COMMENT ON COLUMN label_score.score IS 'Balanced accuracy, or for simulation the correlation';
COMMENT ON COLUMN label_score.score_low IS 'Lower end of its 95 % interval';
COMMENT ON COLUMN label_score.score_high IS 'Upper end of it';
COMMENT ON COLUMN label_score.n IS 'Examples that were judged';
COMMENT ON COLUMN label_score.judgements IS 'Every single judgement, as JSON';

CREATE TABLE label_failure (
  sae SMALLINT, feature INTEGER, method VARCHAR, model VARCHAR, prompt VARCHAR, step VARCHAR,
  reason VARCHAR);
COMMENT ON TABLE label_failure IS 'Features that a labeller could not label, and why; never shown as labels.';
COMMENT ON COLUMN label_failure.sae IS 'sae.sae';
COMMENT ON COLUMN label_failure.feature IS 'feature.feature';
COMMENT ON COLUMN label_failure.method IS 'label.method';
COMMENT ON COLUMN label_failure.model IS 'label.model';
COMMENT ON COLUMN label_failure.prompt IS 'label.prompt';
COMMENT ON COLUMN label_failure.step IS 'explain or the name of a scorer';
COMMENT ON COLUMN label_failure.reason IS 'What went wrong';

CREATE TABLE head (model VARCHAR, layer INTEGER, head INTEGER, kv_head INTEGER);
COMMENT ON TABLE head IS 'One row per attention head.';
COMMENT ON COLUMN head.model IS 'model.id';
COMMENT ON COLUMN head.layer IS 'Layer, from 0';
COMMENT ON COLUMN head.head IS 'Query head in the layer, from 0';
COMMENT ON COLUMN head.kv_head IS 'Key and value head that it reads';

CREATE TABLE head_metric (
  model VARCHAR, layer INTEGER, head INTEGER, metric VARCHAR, condition VARCHAR, value DOUBLE,
  low DOUBLE, high DOUBLE, n BIGINT, run VARCHAR);
COMMENT ON TABLE head_metric IS 'Measured behaviour of a head, one row per metric and condition.';
COMMENT ON COLUMN head_metric.model IS 'model.id';
COMMENT ON COLUMN head_metric.layer IS 'Layer, from 0';
COMMENT ON COLUMN head_metric.head IS 'Query head in the layer, from 0';
COMMENT ON COLUMN head_metric.metric IS 'Name, such as previous_token';
COMMENT ON COLUMN head_metric.condition IS 'Text it was measured on, such as corpus or repeated_random';
COMMENT ON COLUMN head_metric.value IS 'The value';
COMMENT ON COLUMN head_metric.low IS 'Lower end of its 95 % interval; NULL where none is defined';
COMMENT ON COLUMN head_metric.high IS 'Upper end of it';
COMMENT ON COLUMN head_metric.n IS 'Positions or contexts it was measured on';
COMMENT ON COLUMN head_metric.run IS 'run.id';

CREATE VIEW feature_card AS
SELECT s.id || '/' || f.feature AS id, s.model, s.layer, s.id AS sae_id, l.text AS title,
       l.method AS title_method, l.support AS title_support, f.*
FROM feature f JOIN sae s USING (sae)
LEFT JOIN label l ON l.sae = f.sae AND l.feature = f.feature AND l.side = 'title'
  AND l.method = 'tokens';
COMMENT ON VIEW feature_card IS 'Features with their full id and their title: the place to start a query.';
COMMENT ON COLUMN feature_card.id IS 'Full id of the feature, such as gpt2/5-att-kk/123';
COMMENT ON COLUMN feature_card.model IS 'model.id';
COMMENT ON COLUMN feature_card.layer IS 'Layer of its SAE, from 0';
COMMENT ON COLUMN feature_card.sae_id IS 'sae.id';
COMMENT ON COLUMN feature_card.title IS 'Its machine title by rule; NULL where there is none';
COMMENT ON COLUMN feature_card.title_method IS 'label.method of the title';
COMMENT ON COLUMN feature_card.title_support IS 'label.support of the title';
