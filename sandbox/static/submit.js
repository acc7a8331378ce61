// Submits the only form of the page. Without this script, its Continue button does the same.
document.getElementById("answer").submit();
