"""The colours of arms, by name."""

# Okabe and Ito's colours, which people with any common colour blindness can tell apart; grey replaces their yellow,
# which is too pale for a line.
COLOURS = {
    "black": "#000000",
    "vermilion": "#D55E00",
    "blue": "#0072B2",
    "green": "#009E73",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "grey": "#888888",
}
