"""Operations on Google Cloud."""
