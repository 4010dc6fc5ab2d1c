"""Forms of fit. To add one, write a file with a `Form` and list it here: it is then fitted to every group of scores."""

from retscale.fit.forms.form import Form
from retscale.fit.forms.log_linear import LogLinear

# By name. Figures, texts and claims are of the first.
FORMS: dict[str, Form] = {form.name: form for form in (LogLinear(),)}
