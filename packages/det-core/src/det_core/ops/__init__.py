"""Operations on torch and torchvision alone: pure functions and tiny layers."""
