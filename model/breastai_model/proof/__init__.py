"""What the method does and does not achieve, measured on made-up data whose truth is known (method section vii)."""
