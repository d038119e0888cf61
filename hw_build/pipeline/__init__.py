"""What the stages of the flow do, a file for each group; hw_build/stages.py lists them."""
