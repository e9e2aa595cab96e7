"""What stands behind the routes in app.py."""
