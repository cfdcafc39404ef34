"""What training needs besides: language models learn from raw text."""
