"""How evidence is made: corpora, SAE training, mining, labels, studies and the engine."""
