"""What `viral doctor` looks at: each check says what it found, why, and what to do."""
