-- Quality of the SAEs
-- Sparsity, reconstruction and loss of every SAE on held-out text.
SELECT id, architecture, d_sae, l0, fvu, ce_clean, ce_sae, ce_zero, ce_mean, recovered_zero,
       recovered_mean, dead_share, eval_tokens, run
FROM sae
ORDER BY model, layer, id
