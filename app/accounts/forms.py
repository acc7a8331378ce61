"""The forms to sign up, to sign in, and to delete an account."""

import re
from typing import ClassVar

from wtforms import EmailField, Field, Form, PasswordField
from wtforms.validators import InputRequired, ValidationError

from app.accounts import passwords
from app.accounts.email_address import CHARACTERS, normal_email

# Something, an @, something with a dot. Only sending a mail would show whether it arrives.
EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]+@[^@\s.\x00-\x1f\x7f]+(\.[^@\s.\x00-\x1f\x7f]+)+")


class AccountForm(Form):
    """An e-mail address and a password."""

    template: ClassVar[str]

    email = EmailField(
        "E-mail address",
        filters=[normal_email],
        validators=[InputRequired("Enter your e-mail address.")],
    )
    password = PasswordField("Password", validators=[InputRequired("Enter your password.")])

    def validate_email(self, field: Field) -> None:
        """Refuse what cannot be an e-mail address."""
        if len(field.data) > CHARACTERS or not EMAIL.fullmatch(field.data):
            raise ValidationError("Enter an e-mail address like name@example.com.")

    def refuse(self, field: Field, sentence: str) -> None:
        """Show `sentence` as an error of `field`."""
        field.errors = (*field.errors, sentence)


class SignInForm(AccountForm):
    """Sign in. The strength of the password is not checked."""

    template = "sign_in.html"


class SignUpForm(AccountForm):
    """Create an account."""

    template = "sign_up.html"

    def validate_password(self, field: Field) -> None:
        """Refuse a password that is easily guessed."""
        if sentence := passwords.fault(field.data, self.email.data or ""):
            raise ValidationError(sentence)


class DeleteForm(Form):
    """Delete the account; asks for the password again."""

    password = PasswordField("Password", validators=[InputRequired("Enter your password.")])

    def refuse(self) -> None:
        """Show that the password is wrong."""
        self.password.errors = (*self.password.errors, "The password is not right.")
