// unfold's own script marks what it draws; controls that have an icon only get their names here.
"use strict";
