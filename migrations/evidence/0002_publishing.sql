-- What publishing itself knows: the snapshot's name, the bundles in it and the title that lists show.

CREATE TABLE snapshot (number INTEGER, published_at TIMESTAMP);
COMMENT ON TABLE snapshot IS 'One row: which snapshot this is.';
COMMENT ON COLUMN snapshot.number IS 'Number of the snapshot; never used twice in a store';
COMMENT ON COLUMN snapshot.published_at IS 'When it was published, UTC';

CREATE TABLE bundle (run VARCHAR, sha256 VARCHAR, saes SMALLINT[]);
COMMENT ON TABLE bundle IS 'Bundles whose rows are all in this snapshot: publishing one of them again changes nothing.';
COMMENT ON COLUMN bundle.run IS 'Run that wrote the bundle; run.id where it brought a row for it';
COMMENT ON COLUMN bundle.sha256 IS 'Fingerprint of the bundle';
COMMENT ON COLUMN bundle.saes IS 'SAEs it has rows for, as sae.sae';

CREATE TABLE title (sae SMALLINT, feature INTEGER, text VARCHAR, method VARCHAR, support FLOAT);
COMMENT ON TABLE title IS 'The title shown for a feature: of its title labels one by a language model before one by rule, then the best supported.';
COMMENT ON COLUMN title.sae IS 'sae.sae';
COMMENT ON COLUMN title.feature IS 'feature.feature';
COMMENT ON COLUMN title.text IS 'label.text';
COMMENT ON COLUMN title.method IS 'label.method';
COMMENT ON COLUMN title.support IS 'label.support';

CREATE OR REPLACE VIEW feature_card AS
SELECT s.id || '/' || f.feature AS id, s.model, s.layer, s.id AS sae_id, t.text AS title,
       t.method AS title_method, t.support AS title_support, f.*
FROM feature f JOIN sae s USING (sae) LEFT JOIN title t ON t.sae = f.sae AND t.feature = f.feature;
COMMENT ON VIEW feature_card IS 'Features with their full id and their title: the place to start a query.';
