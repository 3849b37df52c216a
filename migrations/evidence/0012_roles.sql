-- What each head does by its features: machine role claims with their evidence, and whether a head
-- does one thing or many.

CREATE TABLE head_role (
  sae SMALLINT, head SMALLINT, "by" VARCHAR, k INTEGER, rank SMALLINT, role VARCHAR,
  family VARCHAR, words VARCHAR[], features INTEGER[], share FLOAT, cohesion FLOAT, run VARCHAR);
COMMENT ON TABLE head_role IS 'Machine role claims: one per cluster of a head''s top features. What people claim is in role_claim.';
COMMENT ON COLUMN head_role.sae IS 'sae.sae';
COMMENT ON COLUMN head_role.head IS 'Query head in the SAE''s layer, from 0';
COMMENT ON COLUMN head_role."by" IS 'How its top features were ranked: weights or measured share';
COMMENT ON COLUMN head_role.k IS 'How many top features were clustered';
COMMENT ON COLUMN head_role.rank IS 'Order of the clusters by share, from 0';
COMMENT ON COLUMN head_role.role IS 'Role, in the vocabulary of people''s claims';
COMMENT ON COLUMN head_role.family IS 'Family of most features of the cluster; NULL where they have none in common';
COMMENT ON COLUMN head_role.words IS 'Commonest quoted words of their titles';
COMMENT ON COLUMN head_role.features IS 'feature.feature of its features, largest share first';
COMMENT ON COLUMN head_role.share IS 'Their part of the sum of the top features'' shares';
COMMENT ON COLUMN head_role.cohesion IS 'Mean sameness of their pairs, 0 to 1; 1 for a single feature';
COMMENT ON COLUMN head_role.run IS 'run.id';

CREATE TABLE head_role_evidence (
  sae SMALLINT, head SMALLINT, "by" VARCHAR, k INTEGER, rank SMALLINT, kind VARCHAR,
  target VARCHAR, ref VARCHAR, sentence VARCHAR, run VARCHAR);
COMMENT ON TABLE head_role_evidence IS 'What machine role claims rest on, in the form of the evidence of people''s claims.';
COMMENT ON COLUMN head_role_evidence.sae IS 'sae.sae';
COMMENT ON COLUMN head_role_evidence.head IS 'head_role.head';
COMMENT ON COLUMN head_role_evidence."by" IS 'head_role.by';
COMMENT ON COLUMN head_role_evidence.k IS 'head_role.k';
COMMENT ON COLUMN head_role_evidence.rank IS 'head_role.rank';
COMMENT ON COLUMN head_role_evidence.kind IS 'target (a feature) or metric (of the head)';
COMMENT ON COLUMN head_role_evidence.target IS 'Id of the feature or of the head';
COMMENT ON COLUMN head_role_evidence.ref IS 'For a metric its name, else empty';
COMMENT ON COLUMN head_role_evidence.sentence IS 'What it shows';
COMMENT ON COLUMN head_role_evidence.run IS 'run.id';

CREATE TABLE head_polysemanticity (
  sae SMALLINT, head SMALLINT, "by" VARCHAR, k INTEGER, clusters INTEGER, largest FLOAT,
  one_thing BOOLEAN, mostly_one BOOLEAN, cohesion FLOAT, cohesion_low FLOAT, cohesion_high FLOAT,
  null_mean FLOAT, null_high FLOAT, p FLOAT,
  need_50 INTEGER, need_50_low INTEGER, need_50_high INTEGER,
  need_80 INTEGER, need_80_low INTEGER, need_80_high INTEGER,
  need_95 INTEGER, need_95_low INTEGER, need_95_high INTEGER, covered FLOAT, run VARCHAR);
COMMENT ON TABLE head_polysemanticity IS 'Whether a head does one thing: cohesion of its top features against chance (by weights or measured), and how many clusters carry its mass (by mass).';
COMMENT ON COLUMN head_polysemanticity.sae IS 'sae.sae';
COMMENT ON COLUMN head_polysemanticity.head IS 'Query head in the SAE''s layer, from 0';
COMMENT ON COLUMN head_polysemanticity."by" IS 'weights or measured (top k features by that share), or mass (all features by firings times |mean DFA| of the head)';
COMMENT ON COLUMN head_polysemanticity.k IS 'How many features were clustered';
COMMENT ON COLUMN head_polysemanticity.clusters IS 'Clusters that they fall into';
COMMENT ON COLUMN head_polysemanticity.largest IS 'Share of the features in the largest cluster; for mass, its share of the mass';
COMMENT ON COLUMN head_polysemanticity.one_thing IS 'Whether there is one cluster: with k = 10 what the paper counted by hand';
COMMENT ON COLUMN head_polysemanticity.mostly_one IS 'Whether one cluster holds at least 80 % of the features';
COMMENT ON COLUMN head_polysemanticity.cohesion IS 'Mean sameness of pairs: 1 within a mechanism family, 0 between two, else similarity of content';
COMMENT ON COLUMN head_polysemanticity.cohesion_low IS 'Lower end of its 95 % bootstrap interval over features';
COMMENT ON COLUMN head_polysemanticity.cohesion_high IS 'Upper end of it';
COMMENT ON COLUMN head_polysemanticity.null_mean IS 'Mean cohesion with shares shuffled: as many live features of the layer drawn at random';
COMMENT ON COLUMN head_polysemanticity.null_high IS '95th percentile of that';
COMMENT ON COLUMN head_polysemanticity.p IS 'Share of these draws that are at least as cohesive';
COMMENT ON COLUMN head_polysemanticity.need_50 IS 'Clusters that carry 50 % of the head''s mass, largest first; only for mass, NULL where the clustered features do not reach it';
COMMENT ON COLUMN head_polysemanticity.need_50_low IS 'Lower end of its 95 % interval, the firings of every feature drawn again as Poisson counts';
COMMENT ON COLUMN head_polysemanticity.need_50_high IS 'Upper end of it';
COMMENT ON COLUMN head_polysemanticity.need_80 IS 'The same for 80 %';
COMMENT ON COLUMN head_polysemanticity.need_80_low IS 'Lower end of its interval';
COMMENT ON COLUMN head_polysemanticity.need_80_high IS 'Upper end of it';
COMMENT ON COLUMN head_polysemanticity.need_95 IS 'The same for 95 %';
COMMENT ON COLUMN head_polysemanticity.need_95_low IS 'Lower end of its interval';
COMMENT ON COLUMN head_polysemanticity.need_95_high IS 'Upper end of it';
COMMENT ON COLUMN head_polysemanticity.covered IS 'Share of the head''s mass in the features that were clustered';
COMMENT ON COLUMN head_polysemanticity.run IS 'run.id';

CREATE TABLE polysemantic_share (
  model VARCHAR, "by" VARCHAR, k INTEGER, heads INTEGER, polysemantic INTEGER, share FLOAT,
  low FLOAT, high FLOAT, mostly_one INTEGER, above_chance INTEGER, run VARCHAR);
COMMENT ON TABLE polysemantic_share IS 'How many heads do more than one thing by their top features.';
COMMENT ON COLUMN polysemantic_share.model IS 'model.id';
COMMENT ON COLUMN polysemantic_share."by" IS 'How top features were ranked: weights or measured';
COMMENT ON COLUMN polysemantic_share.k IS 'How many top features';
COMMENT ON COLUMN polysemantic_share.heads IS 'Heads looked at';
COMMENT ON COLUMN polysemantic_share.polysemantic IS 'Heads whose top features are more than one cluster';
COMMENT ON COLUMN polysemantic_share.share IS 'polysemantic / heads';
COMMENT ON COLUMN polysemantic_share.low IS 'Lower end of its 95 % Wilson interval';
COMMENT ON COLUMN polysemantic_share.high IS 'Upper end of it';
COMMENT ON COLUMN polysemantic_share.mostly_one IS 'Heads of whose top features one cluster holds at least 80 %';
COMMENT ON COLUMN polysemantic_share.above_chance IS 'Heads whose top features are more cohesive than 95 % of the draws';
COMMENT ON COLUMN polysemantic_share.run IS 'run.id';
