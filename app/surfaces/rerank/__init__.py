"""The rerank API of Jina and Cohere."""
