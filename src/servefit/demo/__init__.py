"""The reference use case: a credit-card fraud model of realistic size, and transactions to send to it.

No data is shipped: rows are drawn from a seed, and the model is trained on them when it is first used.
"""

from servefit.demo.fraud import FraudFacts, fraud_facts, fraud_model, fraud_payload, fraud_rows_per_request
from servefit.demo.transactions import fraud_rows

__all__ = ["FraudFacts", "fraud_facts", "fraud_model", "fraud_payload", "fraud_rows", "fraud_rows_per_request"]
