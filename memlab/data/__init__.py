"""Text to windows of tokens: sources, the prepared (tokenised and cached) corpus, batches."""
