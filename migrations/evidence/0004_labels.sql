-- Labels that were measured: how each activation decile was judged, titles chosen by score, embeddings.

ALTER TABLE label_score ADD COLUMN deciles FLOAT[];
ALTER TABLE label_score ADD COLUMN decile_n INTEGER[];
ALTER TABLE label_score ADD COLUMN scored_by VARCHAR;
COMMENT ON COLUMN label_score.scorer IS 'detection (does it fire on the last token of a passage, against silent places elsewhere), fuzzing (does it fire on the marked token, against silent tokens of firing texts) or simulation (how strongly)';
COMMENT ON COLUMN label_score.judgements IS 'Every single judgement, as JSON: where, what was true, what was said';
COMMENT ON COLUMN label_score.deciles IS 'Share of the firings that were recognised, per tenth of the feature''s activations from weak to strong; NULL where none was judged, and for simulation';
COMMENT ON COLUMN label_score.decile_n IS 'Firings that were judged per tenth';
COMMENT ON COLUMN label_score.scored_by IS 'Version of the prompt and the language model that judged, or rule';

ALTER TABLE title ADD COLUMN model VARCHAR;
ALTER TABLE title ADD COLUMN prompt VARCHAR;
ALTER TABLE title ADD COLUMN score FLOAT;
COMMENT ON TABLE title IS 'The title shown for a feature: of its title labels a scored one before one without score, then the highest lower end of its scores; of those without score one by a language model, then the best supported.';
COMMENT ON COLUMN title.model IS 'label.model';
COMMENT ON COLUMN title.prompt IS 'label.prompt';
COMMENT ON COLUMN title.score IS 'Mean balanced accuracy over detection and fuzzing of the label it belongs to; NULL where it was not scored';

CREATE TABLE label_embedding (
  sae SMALLINT, feature INTEGER, model VARCHAR, text VARCHAR, vector FLOAT[]);
COMMENT ON TABLE label_embedding IS 'What features are labelled, as vectors, for search by meaning.';
COMMENT ON COLUMN label_embedding.sae IS 'sae.sae';
COMMENT ON COLUMN label_embedding.feature IS 'feature.feature';
COMMENT ON COLUMN label_embedding.model IS 'Model that embedded it; only vectors of one model can be compared';
COMMENT ON COLUMN label_embedding.text IS 'What was embedded: label_text.text; a row goes when that changes';
COMMENT ON COLUMN label_embedding.vector IS 'The vector, of length 1: the cosine of two of them is their dot product';

CREATE VIEW label_text AS
SELECT t.sae, t.feature, t.text || coalesce(
    ' | ' || string_agg(l.side || ': ' || l.text, ' | ' ORDER BY l.side), '') AS text
FROM title t LEFT JOIN label l ON l.sae = t.sae AND l.feature = t.feature AND l.side <> 'title'
  AND l.method = t.method AND l.model IS NOT DISTINCT FROM t.model
  AND l.prompt IS NOT DISTINCT FROM t.prompt
GROUP BY t.sae, t.feature, t.text;
COMMENT ON VIEW label_text IS 'The shown title of every feature with the sides of the same label: what is embedded.';
COMMENT ON COLUMN label_text.sae IS 'sae.sae';
COMMENT ON COLUMN label_text.feature IS 'feature.feature';
COMMENT ON COLUMN label_text.text IS 'Title and sides in one line';

CREATE OR REPLACE VIEW feature_card AS
SELECT s.id || '/' || f.feature AS id, s.model, s.layer, s.id AS sae_id, t.text AS title,
       t.method AS title_method, t.support AS title_support, t.score AS title_score, f.*
FROM feature f JOIN sae s USING (sae) LEFT JOIN title t ON t.sae = f.sae AND t.feature = f.feature;
COMMENT ON VIEW feature_card IS 'Features with their full id and their title: the place to start a query.';
COMMENT ON COLUMN feature_card.id IS 'Full id of the feature, such as gpt2/5-att-kk/123';
COMMENT ON COLUMN feature_card.model IS 'model.id';
COMMENT ON COLUMN feature_card.layer IS 'Layer of its SAE, from 0';
COMMENT ON COLUMN feature_card.sae_id IS 'sae.id';
COMMENT ON COLUMN feature_card.title IS 'Its machine title; NULL where there is none';
COMMENT ON COLUMN feature_card.title_method IS 'label.method of the title';
COMMENT ON COLUMN feature_card.title_support IS 'label.support of the title';
COMMENT ON COLUMN feature_card.title_score IS 'title.score';

COMMENT ON TABLE schema_version IS 'Migrations that made this snapshot''s tables.';
COMMENT ON COLUMN schema_version.version IS 'Number of the migration';
COMMENT ON COLUMN schema_version.name IS 'What it brought';
COMMENT ON COLUMN schema_version.applied_at IS 'When it was applied, UTC';
