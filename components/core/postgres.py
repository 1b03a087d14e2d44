"""What every PostgreSQL of the platform on RDS has in common, Aurora or not."""

from collections.abc import Mapping

VERSION = "17"
"""Minor versions come by themselves. Of Aurora any of it scales to zero (16.3 and later, "Aurora Serverless v2 capacity")."""
PORT = 5432
PARAMETERS: Mapping[str, str] = {
    "log_connections": "1",
    "log_disconnections": "1",
    "log_min_duration_statement": "1000",
    "rds.accepted_password_auth_method": "scram",
    "rds.force_ssl": "1",
}
""""Working with parameters on your RDS for PostgreSQL DB instance", "Aurora PostgreSQL parameters"; each takes effect at once."""
BACKUP_DAYS: Mapping[str, int] = {"delete": 7, "protect": 14, "retain": 35}
"""By protection: backups are kept for longer where data is; 35 days is the most that RDS keeps them."""
