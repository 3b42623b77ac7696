"""The old home of `vai.secret.Secret`."""

from vai.secret import Secret as Secret
