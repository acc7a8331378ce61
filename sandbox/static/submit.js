// Sends the one form on the page; without this script its Continue button does the same.
document.getElementById("answer").submit();
