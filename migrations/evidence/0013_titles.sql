-- Which title is shown: one at chance level no longer displaces another.

COMMENT ON TABLE title IS 'The title shown for a feature, of its title labels: first those whose scores have a lower end above 0.5, the highest first; then those without score, one by a language model before one by rule, then the best supported; last those at chance level, one by rule first.';
