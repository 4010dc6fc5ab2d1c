"""Forms of fit. To add one, write a file with a `Form` and list it here: it is then fitted to every group of scores."""

from retscale.fit.forms.constant import Constant
from retscale.fit.forms.form import Form
from retscale.fit.forms.log_linear import LogLinear
from retscale.fit.forms.log_linear_ratio import LogLinearRatio
from retscale.fit.forms.logistic import Logistic, SaturatingLogistic
from retscale.fit.forms.power import Power, SaturatingPower
from retscale.fit.forms.quadratic import Quadratic
from retscale.fit.forms.surface import Surface

# By name. Figures and texts are of the first, which is also the one that the fewest checkpoints allow.
FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        LogLinear(),
        Constant(),
        Logistic(),
        Power(),
        SaturatingPower(),
        SaturatingLogistic(),
        LogLinearRatio(),
        Surface(),
        Quadratic(),
    )
}
