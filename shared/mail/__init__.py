"""What we write to people, and how it leaves: SendGrid or SMTP, behind one door."""
